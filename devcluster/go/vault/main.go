// Command vault is Vault, built from its pinned module for the tests and the local cluster.
package main

import (
	"os"

	"github.com/hashicorp/vault/command"
)

func main() { os.Exit(command.Run(os.Args[1:])) }
