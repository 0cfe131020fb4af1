WITH doors AS (
  SELECT branch_code, day, sum(visitors) AS visitors
  FROM desk.visits
  GROUP BY branch_code, day
),
counters AS (
  SELECT
    branch_code,
    CAST(loaned_at AS DATE) AS day,
    count(*) AS loans,
    count(*) FILTER (WHERE days_late > 0) AS late_returns
  FROM core.loan
  GROUP BY branch_code, CAST(loaned_at AS DATE)
)
SELECT
  b.branch_code,
  b.name AS branch_name,
  v.day,
  CAST(v.visitors AS BIGINT) AS visitors,
  coalesce(c.loans, 0) AS loans,
  coalesce(c.late_returns, 0) AS late_returns,
  round(100.0 * coalesce(c.loans, 0) / nullif(v.visitors, 0), 1) AS loans_per_hundred_visitors,
  round(avg(v.visitors) OVER (PARTITION BY b.branch_code ORDER BY v.day ROWS BETWEEN 4 PRECEDING AND CURRENT ROW), 1) AS visitors_of_five_days,
  rank() OVER (PARTITION BY b.branch_code ORDER BY coalesce(c.loans, 0) DESC) = 1 AS best_day_of_branch
FROM doors AS v
JOIN desk.branches AS b ON b.branch_code = v.branch_code
LEFT JOIN counters AS c ON c.branch_code = v.branch_code AND c.day = v.day
