"""Photos, a stand-in teacher, processes, a faulty server and damage for tests of shards."""
