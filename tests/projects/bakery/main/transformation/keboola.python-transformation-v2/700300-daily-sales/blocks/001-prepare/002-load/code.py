# reads what the till wrote
import pandas

sales = pandas.read_csv('in/tables/sales.csv')  # “{{ shop }}”
