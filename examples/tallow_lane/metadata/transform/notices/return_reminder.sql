SELECT
  o.loan_id,
  o.member_id,
  d.as_of AS written_on,
  'Dear ' || m.first_name || ', "' || o.title || '" was due on ' || strftime(o.due_on, '%d/%m/%Y') || '. So far ${fine_per_day} a day come to '
  || o.fine || ' euros. Your ${library_name}' AS letter
FROM kpi.overdue AS o
JOIN core.member AS m ON m.member_id = o.member_id
CROSS JOIN core.business_day AS d
