//! What the HTTP doors of both roles share.
