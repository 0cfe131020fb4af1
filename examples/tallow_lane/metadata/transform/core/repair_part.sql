WITH parts AS (
  SELECT repair_id, item_id, closed_on, unnest(parts_used) AS part
  FROM workshop.repairs
)
SELECT
  u.repair_id,
  u.item_id,
  u.closed_on,
  u.part.sku AS sku,
  s.label,
  u.part.quantity AS quantity,
  CAST(u.part.quantity * u.part.unit_price AS DECIMAL(10, 2)) AS cost
FROM parts AS u
LEFT JOIN workshop.spare_parts AS s ON s.sku = u.part.sku
