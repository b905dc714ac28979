"""A run folder typed by people: three patients, two readers, nodes, states, findings, treatments and deaths."""

from pathlib import Path

HOSTILE = '=HYPERLINK("http://example.invalid","read me")'

STUDIES = """patient_id,study_date
P1,2024-01-05
P1,2024-03-05
P1,2024-05-05
P1,2024-07-05
P2,2024-01-10
P2,2024-04-10
P2,2024-07-10
P3,2024-02-01
"""
TREATMENTS = """patient_id,treatment_phase,name,kind,start_date
P1,1 TACE,TACE,locoregional,2024-01-10
P1,2 systemic,lenvatinib,systemic,2024-05-06
P2,1 systemic,atezolizumab + bevacizumab,systemic,2024-01-12
"""
PATIENTS = """patient_id,death_date,last_contact_date
P1,,2024-12-01
P2,2024-09-01,
"""
FINDINGS = """patient_id,date,kind,status,site,size_mm,cytology,affects,author,note
P2,2024-07-10,extrahepatic_lesion,new,left ilium,,,overall,reader A,bone scan
"""
# L01 answers and grows again; L02 becomes too small; L03 is a node; L04 is new; L05 is seen by reader B only.
MEASUREMENTS = f"""patient_id,lesion_id,study_date,reader,organ,is_node,longest_diameter_mm,perpendicular_diameter_mm,\
viable_longest_diameter_mm,volume_ml,new_lesion_status,reason
P1,L01,2024-01-05,reader A,liver,false,40,30,40,18.8,,{HOSTILE.replace('"', "''").replace(",", ";")}
P1,L02,2024-01-05,reader A,liver,false,20.5,15,20.5,2.4,,
P1,L03,2024-01-05,reader A,lymph_node,true,28,16,,,,
P1,L01,2024-03-05,reader A,liver,false,38,28,18,15.6,,
P1,L02,2024-03-05,reader A,liver,false,too small,,too small,,,
P1,L03,2024-03-05,reader A,lymph_node,true,22,9,,,,
P1,L01,2024-05-05,reader A,liver,false,not done,,not done,,,motion
P1,L02,2024-05-05,reader A,liver,false,absent,,,,,
P1,L03,2024-05-05,reader A,lymph_node,true,20,8,,,,
P1,L01,2024-07-05,reader A,liver,false,45,33,44,25.7,,
P1,L02,2024-07-05,reader A,liver,false,absent,,,,,
P1,L03,2024-07-05,reader A,lymph_node,true,21,8,,,,
P1,L04,2024-07-05,reader A,liver,false,14,12,14,1.1,definite,
P1,L01,2024-01-05,reader B,liver,false,41,31,41,19.9,,
P1,L02,2024-01-05,reader B,liver,false,21,16,21,2.7,,
P1,L01,2024-03-05,reader B,liver,false,30,24,12,9.1,,
P1,L02,2024-03-05,reader B,liver,false,12,9,8,0.5,,
P1,L01,2024-05-05,reader B,liver,false,29,23,11,8.0,,
P1,L02,2024-05-05,reader B,liver,false,11,9,7,0.5,,
P1,L01,2024-07-05,reader B,liver,false,44,33,43,25.1,,
P1,L02,2024-07-05,reader B,liver,false,12,9,8,0.6,,
P2,L01,2024-01-10,reader A,liver,false,60,45,60,65,,
P2,L02,2024-01-10,reader A,liver,false,12,9,6,0.6,,
P2,L01,2024-04-10,reader A,liver,false,40,30,38,18,,
P2,L02,2024-04-10,reader A,liver,false,12,9,6,0.6,,
P2,L01,2024-07-10,reader A,liver,false,38,30,36,17,,
P2,L02,2024-07-10,reader A,liver,false,12,9,6,0.6,,
P3,L01,2024-02-01,reader A,liver,false,30,25,30,9.8,,
"""


def write_typed_run(folder: Path) -> Path:
    """Write the tables into a folder."""
    for name, text in (
        ("studies", STUDIES),
        ("treatments", TREATMENTS),
        ("patients", PATIENTS),
        ("findings", FINDINGS),
        ("measurements", MEASUREMENTS),
    ):
        (folder / f"{name}.csv").write_text(text, encoding="utf-8")
    return folder
