"""The code that runs inside the boxes.

These modules are copied into every box and imported there by a stripped interpreter, so they import nothing but
built-in modules and one another: each import costs milliseconds a verdict. The server imports `wire` and
`channel` too.
"""
