# {{:codes/02k-greeting}}
sales.groupby('day').sum().to_csv('out/tables/daily.csv')


