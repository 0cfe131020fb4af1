SELECT category_code, period, price, deposit, valid_from
FROM catalogue.tariffs
