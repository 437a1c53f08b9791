CREATE TABLE stock AS -- one row; not two
SELECT 'a;b' AS "na;me", count(*) AS n
FROM sales;

/* the rest;
   of it */
INSERT INTO stock VALUES ($$x;y$$, 1);

COPY stock TO 'out/tables/stock.csv'
