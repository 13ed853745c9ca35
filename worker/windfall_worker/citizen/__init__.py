"""What makes a worker a good citizen of a machine that somebody uses.

It looks at the machine (`readings`, `macos`, `linux`), holds new jobs back by the rules that were set (`rules`,
`hours`, `keeper`), keeps the machine awake while jobs run (`awake`), and hands them back before it sleeps (`sleep`).
"""
