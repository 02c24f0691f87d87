"""The local cluster: its tools, images and two providers, kind and native.

Standard library only, because it runs before anything is installed. The rest
of the repository knows the commands of `__main__`, never which provider runs.
"""
