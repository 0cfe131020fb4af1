SELECT
  l.loan_id,
  l.title,
  l.member_id,
  m.home_branch_name,
  l.due_on,
  l.days_late,
  l.fine,
  count(*) OVER (PARTITION BY l.member_id) AS late_things_of_member
FROM core.loan AS l
JOIN core.member AS m ON m.member_id = l.member_id
WHERE l.state = 'overdue'
