SELECT category_code || '/' || period AS tariff, category_code, period, price, deposit, valid_from
FROM catalogue.tariffs
