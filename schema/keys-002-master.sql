-- Which keys a version of the master key wraps: counted, and asked for before the version is destroyed.

CREATE INDEX subject_keys_master ON subject_keys (master);
