WITH gaps AS (
  SELECT
    member_id,
    CAST(loaned_at AS DATE) AS loan_day,
    date_diff('day', lag(CAST(loaned_at AS DATE)) OVER (PARTITION BY member_id ORDER BY loaned_at), CAST(loaned_at AS DATE)) AS gap
  FROM core.loan
),
habits AS (
  SELECT member_id, count(*) AS loans, max(loan_day) AS last_loan_on, round(avg(gap), 1) AS mean_gap_in_days
  FROM gaps
  GROUP BY member_id
)
SELECT
  h.member_id,
  h.loans,
  h.last_loan_on,
  h.mean_gap_in_days,
  ntile(4) OVER (ORDER BY h.loans DESC, h.member_id) AS quarter_by_loans,
  CASE
    WHEN date_diff('day', h.last_loan_on, d.as_of) > 42 THEN 'fading'
    WHEN h.loans = 1 THEN 'new'
    WHEN h.mean_gap_in_days <= 14 THEN 'keen'
    ELSE 'regular'
  END AS segment
FROM habits AS h
CROSS JOIN core.business_day AS d
