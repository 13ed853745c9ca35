"""What makes a worker a good citizen of a machine that people use.

It reads the machine's state (`readings`, `macos`, `linux`), holds new jobs back by the rules that are set (`rules`,
`hours`, `keeper`), keeps the machine awake while jobs run (`awake`), and hands them back before it sleeps (`sleep`).
"""
