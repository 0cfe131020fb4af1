-- The last day with visitors.
-- This task has no YAML; its strategy and tag are the defaults of the folder.
SELECT max(day) AS as_of
FROM desk.visits
