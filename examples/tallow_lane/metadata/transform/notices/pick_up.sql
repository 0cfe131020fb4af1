WITH wishes AS (
  SELECT
    r.item_id,
    r.member_id,
    r.asked_at,
    row_number() OVER (PARTITION BY r.item_id ORDER BY r.asked_at) AS place,
    count(*) OVER (PARTITION BY r.item_id) AS queue
  FROM lending.reservations AS r
  CROSS JOIN core.business_day AS d
  WHERE r.wanted_from > d.as_of - 7
)
SELECT w.item_id, i.title, w.member_id, w.asked_at, w.queue
FROM wishes AS w
JOIN core.item AS i ON i.item_id = w.item_id
LEFT JOIN core.loan AS l ON l.item_id = w.item_id AND l.state <> 'back'
WHERE w.place = 1 AND i.on_offer AND l.loan_id IS NULL
