print('Good morning')
