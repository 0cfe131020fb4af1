WITH until_now AS (
  SELECT
    l.*,
    coalesce(CAST(l.returned_at AS DATE), d.as_of) AS last_day
  FROM lending.loans AS l
  CROSS JOIN core.business_day AS d
),
counted AS (
  SELECT
    *,
    date_diff('day', CAST(loaned_at AS DATE), last_day) AS days_out,
    greatest(0, date_diff('day', due_on, last_day)) AS days_late
  FROM until_now
)
SELECT
  n.loan_id,
  n.item_id,
  i.title,
  i.category_code,
  n.member_id,
  n.branch_code,
  n.loaned_at,
  n.due_on,
  n.returned_at,
  n.condition,
  n.days_out,
  n.days_late,
  CASE
    WHEN n.returned_at IS NOT NULL THEN 'back'
    WHEN n.days_late > {{ grace_days }} THEN 'overdue'
    ELSE 'out'
  END AS state,
  CAST(least(30, n.days_late) * {{ fine_per_day }} AS DECIMAL(10, 2)) AS fine
FROM counted AS n
LEFT JOIN core.item AS i ON i.item_id = n.item_id
