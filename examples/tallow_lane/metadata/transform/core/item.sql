WITH prices AS (
  SELECT
    category_code,
    max(price) FILTER (WHERE period = 'day') AS price_per_day,
    max(deposit) AS deposit
  FROM catalogue.tariffs
  GROUP BY category_code
)
SELECT
  i.item_id,
  i.title,
  i.category_code,
  c.name AS category_name,
  c.group_name,
  c.loan_days,
  i.maker.name AS maker_name,
  i.maker.country AS maker_country,
  year(d.as_of) - i.maker.year AS age_in_years,
  list_contains(i.labels, 'two people') AS takes_two,
  i.home_branch,
  i.replacement_value,
  p.price_per_day,
  p.deposit,
  i.acquired_on,
  i.acquired_on <= d.as_of AND coalesce(i.retired_on > d.as_of, true) AS on_offer
FROM catalogue.items AS i
CROSS JOIN core.business_day AS d
LEFT JOIN catalogue.item_categories AS c ON c.category_code = i.category_code
LEFT JOIN prices AS p ON p.category_code = i.category_code
