WITH span AS (
  SELECT min(CAST(loaned_at AS DATE)) AS first_day
  FROM core.loan
),
use_of_items AS (
  SELECT item_id, count(*) AS loans, CAST(sum(days_out) AS BIGINT) AS days_out
  FROM core.loan
  GROUP BY item_id
),
shelf AS (
  SELECT
    i.item_id,
    i.title,
    i.category_code,
    i.category_name,
    coalesce(n.loans, 0) AS loans,
    coalesce(n.days_out, 0) AS days_out,
    1 + date_diff('day', greatest(i.acquired_on, s.first_day), d.as_of) AS days_on_offer
  FROM core.item AS i
  CROSS JOIN core.business_day AS d
  CROSS JOIN span AS s
  LEFT JOIN use_of_items AS n ON n.item_id = i.item_id
  WHERE i.on_offer
)
SELECT
  item_id,
  title,
  category_code,
  category_name,
  loans,
  days_out,
  round(least(1.0, days_out / days_on_offer), 3) AS busy_share,
  dense_rank() OVER (PARTITION BY category_code ORDER BY loans DESC, days_out DESC) AS place_in_category,
  round(loans / nullif(sum(loans) OVER (PARTITION BY category_code), 0), 3) AS share_of_category,
  round(
    sum(loans) OVER (PARTITION BY category_code ORDER BY loans DESC, days_out DESC, item_id ROWS UNBOUNDED PRECEDING)
    / nullif(sum(loans) OVER (PARTITION BY category_code), 0), 3
  ) AS running_share
FROM shelf
