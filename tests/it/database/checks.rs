//! To be written: checks of databases.
