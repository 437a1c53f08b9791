"""The embedded Storage: a DuckLake, which is Parquet files and a SQL catalogue, used through DuckDB.

A bucket is a schema of the lake, e.g. ``in.c-main``; a table has one column, of texts when it has no types, for each of
its columns and ``_timestamp``, the time at which the row was last changed. What Storage knows beyond that (keys,
metadata, files, state, commits) is kept in small tables of the schema ``_docker_runner``, whose rows DuckLake keeps in
the catalogue itself. So one DuckLake transaction makes everything that a commit brings visible at once.

::

    lake.py            Lake: the Storage protocol, put together from the modules below
    location.py        the URI; the only place that knows which catalogues there are
    catalog.py         what a catalogue is; sqlite_catalog.py, postgres_catalog.py: the two, with their writers' locks
    lock_names.py      what a commit locks
    object_storage.py  S3, Google and Azure: credentials, for DuckDB and for stored files
    connection.py      DuckDB with its extensions, and the lake attached
    scratch.py         a process's working folder
    records.py         what Storage knows about tables, files, states and commits
    documents.py       the same as JSON documents
    csv_source.py      a CSV as it lies there: files, dialect, header
    csv_check.py       which line of a CSV is wrong
    types.py           types of columns: which texts are values, which text stands for a value
    conversion.py      texts of a load -> values and NULL
    staging.py         CSV -> Parquet, before the lock is taken
    commit.py          one Commit: stage all, then make all visible in one transaction
    structure.py       columns, types and key of the table that a load is for
    load.py            one staged table into its table: delete rules, rows, metadata
    filters.py         columns and rows that are named by their values
    export.py          table -> CSV or Parquet
    blobs.py           contents of stored files, in a folder or in object storage
    file_search.py     which stored files match
    file_query.py      full-text queries of stored files
    file_fields.py     the fields that these can name
    ledger.py          tokens and events, in plain tables beside the lake
    ledger_database.py where these tables are
    history.py         earlier states of tables, and what changed
    restore.py         an earlier state put back
    query.py           anyone's SQL, which can only read
    maintenance.py     what a lake needs now and then
    compaction.py      fewer and larger files
"""
