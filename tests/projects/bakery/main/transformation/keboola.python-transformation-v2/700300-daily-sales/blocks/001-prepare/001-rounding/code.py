# {{:codes/01h-rounding}}
