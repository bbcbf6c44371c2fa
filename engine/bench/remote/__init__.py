"""Load on a server over the network: our own service, servers of the Open Inference Protocol, and others."""
