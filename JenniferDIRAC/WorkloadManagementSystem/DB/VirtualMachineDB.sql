-- The tables are made by VirtualMachineStore when they are missing.
USE VirtualMachineDB;
