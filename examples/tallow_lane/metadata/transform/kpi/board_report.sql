WITH measures AS (
  SELECT 'members' AS measure, CAST(sum(members) AS DOUBLE) AS amount
  FROM kpi.plan_mix
  UNION ALL
  SELECT 'visitors of the last five days', sum(v.visitors)
  FROM kpi.branch_day AS v
  CROSS JOIN core.business_day AS d
  WHERE v.day > d.as_of - 5
  UNION ALL
  SELECT 'things overdue', count(*)
  FROM kpi.overdue
  UNION ALL
  SELECT 'balance of the till', max_by(balance, entry_no)
  FROM core.ledger
  UNION ALL
  SELECT 'euros spent on parts', sum(parts_cost)
  FROM kpi.repair_cost
  UNION ALL
  SELECT 'members who fade', count(*)
  FROM kpi.member_segment
  WHERE segment = 'fading'
)
SELECT d.as_of, m.measure, m.amount
FROM measures AS m
CROSS JOIN core.business_day AS d
