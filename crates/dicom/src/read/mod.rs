//! Opening files and decoding frames.
