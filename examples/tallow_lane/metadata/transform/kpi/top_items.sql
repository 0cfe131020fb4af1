-- The busiest things of each category; how many is a variable of metadata/env.sl.yml.
SELECT category_name, place_in_category, item_id, title, loans
FROM kpi.item_utilisation
WHERE place_in_category <= {{ top_places }} AND loans > 0
