SELECT reference, paid_on, trim(member_id) AS member_id, trim(method) AS method, trim(kind) AS kind, amount
FROM lending.payments
QUALIFY row_number() OVER (PARTITION BY reference ORDER BY paid_on) = 1
