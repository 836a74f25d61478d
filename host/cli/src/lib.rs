//! The millpond command: builds, checks and runs jobs
