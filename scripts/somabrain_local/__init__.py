"""The local cluster: its tools, images and two providers, kind and native.

Uses the standard library only, because it runs before anything is installed. The
rest of the repository uses the commands of `__main__`, independent of the provider.
"""
