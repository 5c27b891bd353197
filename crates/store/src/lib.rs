//! Databases, objects, durable jobs and the audit chain; knows nothing of who uses it.
