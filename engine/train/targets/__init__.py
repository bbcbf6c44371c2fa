"""What a network is trained towards: anchors, their faces, the codes of boxes and landmarks, the loss."""
