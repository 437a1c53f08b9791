import decimal


def to_cents(amount):
    return decimal.Decimal(amount).quantize(decimal.Decimal('0.{{digits}}'))
