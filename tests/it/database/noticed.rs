//! To be written: noticed of databases.
