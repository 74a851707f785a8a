"""What a run is expected to be: a small language over what it measures, and the verdicts on it.

tree         expectations as trees, and their normal form
syntax       the grammar: text to a tree
units        what may be compared with what
vocabulary   the names that a run knows
meaning      a tree looked up, checked, and made into `terms` that are read (`reading`)
moments      frames and incidents, from a run as it goes or from its files
gathering    what is needed of them, in bounded memory
judge        takes them; the verdicts (`verdict`)
presets      expectations that can be named
items        `expect:` of the YAML
replay       the same verdicts from a run's folder
table, junit the verdicts for people, and for CI servers
"""
