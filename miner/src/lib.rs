//! Nonce search.
