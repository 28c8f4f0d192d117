"""pytest-fileflow: proves that file transfers between SFTP and S3 still work, and names the cause when they do not."""

__version__ = "0.1.0"
