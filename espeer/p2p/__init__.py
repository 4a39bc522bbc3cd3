"""The peer-to-peer part: a libp2p host that survives, gossip per type, and sync."""
