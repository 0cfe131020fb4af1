-- SL_PRESQL
CREATE TABLE IF NOT EXISTS kpi.refresh_log (task VARCHAR, moment VARCHAR, row_count BIGINT);
INSERT INTO kpi.refresh_log VALUES ('repair_cost', 'before', NULL);

-- SL_SQL
WITH parts_of_repairs AS (
  SELECT repair_id, sum(cost) AS parts_cost
  FROM core.repair_part
  GROUP BY repair_id
),
loans_of_categories AS (
  SELECT category_code, count(*) AS loans
  FROM core.loan
  GROUP BY category_code
)
SELECT
  i.category_code,
  count(*) AS repairs,
  round(sum(r.minutes) / 60, 1) AS hours,
  CAST(coalesce(sum(p.parts_cost), 0) AS DECIMAL(10, 2)) AS parts_cost,
  round(coalesce(sum(p.parts_cost), 0) / max(n.loans), 2) AS cost_per_loan
FROM workshop.repairs AS r
JOIN core.item AS i ON i.item_id = r.item_id
LEFT JOIN parts_of_repairs AS p ON p.repair_id = r.repair_id
LEFT JOIN loans_of_categories AS n ON n.category_code = i.category_code
WHERE r.closed_on IS NOT NULL
GROUP BY i.category_code

-- SL_POSTSQL
INSERT INTO kpi.refresh_log SELECT 'repair_cost', 'after', count(*) FROM kpi.repair_cost;
