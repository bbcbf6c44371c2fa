"""Meshes of triangles: topologies from OBJ files, Laplacians, coarser levels; `dense` is the network on them."""
