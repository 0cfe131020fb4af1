WITH versions_of_members AS (
  SELECT
    *,
    lag(plan) OVER (PARTITION BY member_id ORDER BY updated_at) AS former_plan,
    count(*) OVER (PARTITION BY member_id) AS versions
  FROM desk.members
)
SELECT
  m.member_id,
  m.first_name,
  m.email AS email_hash,
  m.plan,
  m.former_plan,
  m.home_branch,
  b.name AS home_branch_name,
  m.joined_on,
  date_diff('month', m.joined_on, d.as_of) AS months_of_membership,
  m.versions
FROM versions_of_members AS m
CROSS JOIN core.business_day AS d
LEFT JOIN desk.branches AS b ON b.branch_code = m.home_branch
WHERE m.sl_end_ts IS NULL
