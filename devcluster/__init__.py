"""The local cluster: its tools, images and two providers, kind and native; and single servers on loopback.

Uses the standard library only, because it runs before anything is installed. The rest of the repository uses the
commands of `__main__`, independent of the provider, and the servers in `loopback`. README.md is its contract.
"""
