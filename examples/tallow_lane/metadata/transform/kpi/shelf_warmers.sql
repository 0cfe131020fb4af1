WITH moves AS (
  SELECT item_id, max(event_on) AS last_moved_on
  FROM core.item_event
  WHERE event IN ('lent', 'returned')
  GROUP BY item_id
)
SELECT
  i.item_id,
  i.title,
  i.home_branch,
  i.replacement_value,
  m.last_moved_on,
  row_number() OVER (ORDER BY i.replacement_value DESC, i.item_id) AS place
FROM core.item AS i
CROSS JOIN core.business_day AS d
LEFT JOIN moves AS m ON m.item_id = i.item_id
WHERE i.on_offer AND coalesce(m.last_moved_on < d.as_of - 42, true)
