WITH events AS (
  SELECT CAST(loaned_at AS DATE) AS event_on, item_id, 'lent' AS event, branch_code AS detail
  FROM lending.loans
  UNION ALL
  SELECT CAST(returned_at AS DATE), item_id, 'returned', condition
  FROM lending.loans
  WHERE returned_at IS NOT NULL
  UNION ALL
  SELECT CAST(asked_at AS DATE), item_id, 'reserved', coalesce(channel, 'desk')
  FROM lending.reservations
  UNION ALL
  SELECT opened_on, item_id, 'repair begun', technician.name
  FROM workshop.repairs
  UNION ALL
  SELECT closed_on, item_id, 'repair done', technician.name
  FROM workshop.repairs
  WHERE closed_on IS NOT NULL
  UNION ALL
  SELECT inspected_on, item_id, 'inspected', verdict
  FROM workshop.inspections
)
SELECT
  CAST(date_trunc('month', e.event_on) AS DATE) AS event_month,
  e.event_on,
  e.item_id,
  e.event,
  e.detail
FROM events AS e
CROSS JOIN core.business_day AS d
WHERE e.event_on >= date_trunc('month', d.as_of) - INTERVAL 2 MONTH
