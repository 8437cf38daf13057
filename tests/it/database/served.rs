//! To be written: served of databases.
