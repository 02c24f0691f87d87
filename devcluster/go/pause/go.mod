// The pod sandbox's process, when its image cannot be pulled.
module somabrain.io/devcluster/go/pause

go 1.26.0
