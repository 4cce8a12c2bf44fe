"""What a worker raises when there is nothing left to do for anybody."""


class Gone(FileNotFoundError):
    """Another process or machine has finished the work, and removed what belonged to the unfinished one."""
